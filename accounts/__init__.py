"""Who is speaking: people, memberships, API keys, sessions, and the Actor they all become."""
