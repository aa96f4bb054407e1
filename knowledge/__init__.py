"""Knowledge bases: documents in, passages out, each with where it comes from and why it was found."""
