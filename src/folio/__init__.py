"""folio: from a text file to your own ChatGPT."""

__version__ = "0.1.0"
