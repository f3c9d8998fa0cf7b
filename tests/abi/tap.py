"""Results of a script's checks in the Test Anything Protocol, as meson reads them."""
import sys


class Tap:
    def __init__(self):
        self.count = 0
        self.failed = 0

    def check(self, good, what, details=()):
        """One result; details are printed below it when it is bad."""
        self.count += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.count} - {what}")
        for line in () if good else details:
            self.note(line)
        return good

    def skip(self, what, reason):
        self.count += 1
        print(f"ok {self.count} - {what} # SKIP {reason}")

    @staticmethod
    def note(line):
        print(f"# {line}")

    def end(self):
        print(f"1..{self.count}")
        sys.exit(1 if self.failed else 0)
