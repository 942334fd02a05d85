"""The list of scenarios: each is a function that drives connections on a fresh server."""

SCENARIOS = {}


class Scenario:
    def __init__(self, name, play, settings, log, apache_only, restarts):
        self.name, self.play, self.settings = name, play, settings
        self.log, self.apache_only, self.restarts = log, apache_only, restarts
        self.about = (play.__doc__ or "").strip().splitlines()


def scenario(name, *settings, log=False, apache_only=None, restarts=False):
    """`log`: the transaction log is shown too. `apache_only`: why no other server must agree.
    `restarts`: needs a server of its own."""

    def add(play):
        assert name not in SCENARIOS, name
        SCENARIOS[name] = Scenario(name, play, settings, log, apache_only, restarts)
        return play

    return add
