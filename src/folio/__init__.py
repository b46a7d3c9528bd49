"""folio: from a text file to your own ChatGPT.

    import folio
    model, tokenizer = folio.load("runs/shakespeare")
    print(folio.generate(model, tokenizer, "ROMEO:", max_new_tokens=200))

docs/python.md is a tutorial. What is public stands in `__init__.pyi`, and is imported when it is first used: `import
folio` takes no time.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
