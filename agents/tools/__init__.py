"""What an agent can do beyond talking: the tools, and how a model's call of one is carried out."""
