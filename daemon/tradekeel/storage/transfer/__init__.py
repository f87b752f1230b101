"""Books as files for other programs, and back: CSV, JSON lines, Parquet.

``tables`` says which columns there are and in which order rows come, ``csvtext``, ``jsonlines`` and ``parquet`` are the
three kinds of files, ``exporting`` writes a folder of them with a manifest, ``importing`` reads one back into empty books.
What is exported, imported and exported again is the same byte for byte, whichever database was in between.
"""
