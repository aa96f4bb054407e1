"""What is in files that people send: told from their bytes, and read as text in a process that can do nothing else."""
