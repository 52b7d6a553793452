"""What can go wrong with backups, in words for the operator."""


class BackupFailed(Exception):
    """The work was not done, and nothing half-done is left; the text says why."""


class Altered(BackupFailed):
    """A backup is not what was made: something in it was changed, cut short, moved, swapped or
    taken away. The text names the place; nothing of it is believed."""


class WrongKey(BackupFailed):
    """The key file lacks the key of a backup; the text names both."""


class TargetFailed(BackupFailed):
    """The place where backups lie can't be read or written; the text says why."""
