"""What an agent is, and the engine that runs one."""
