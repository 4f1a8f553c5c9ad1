"""The algorithm process: `procvision-host --algo NAME`, spoken to over stdin and stdout."""
