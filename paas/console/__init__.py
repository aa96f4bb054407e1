"""The operator's console beyond tables: what rooms below cannot show, because they do not know each other."""
