"""The host program's side: `Kernel`, and the references and promises a host program holds."""
