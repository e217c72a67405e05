"""The contracts of methods, tasks and models, and how plug-ins are found."""
