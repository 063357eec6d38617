"""The trio ring around the kernel core: a task per vat, one scheduler task, the commit."""
