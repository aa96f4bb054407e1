"""One file for each kind of provider; llm.registry names them."""
