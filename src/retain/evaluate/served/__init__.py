"""A model behind a server, or in a file of llama.cpp, as one side of a measurement."""
