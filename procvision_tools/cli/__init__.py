"""The command `procvision`: one file a command, imported when it is used."""
