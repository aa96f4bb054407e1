"""The embedded services and the supervisor behind `make run`: standard library and wheels' binaries only.

Nothing here imports the platform, and the platform imports nothing from here.
"""
