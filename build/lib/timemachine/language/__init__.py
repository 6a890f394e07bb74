"""The language wing: language models from configuration to generated text."""
