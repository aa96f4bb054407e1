"""The doors: each parses its wire into a TurnRequest and encodes events; none decides anything."""
