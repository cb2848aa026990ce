raise RuntimeError("half\nway")
