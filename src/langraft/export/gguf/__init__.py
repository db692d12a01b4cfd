"""GGUF files for llama.cpp and Ollama: what it can run, conversion, vocabularies, a Modelfile."""
