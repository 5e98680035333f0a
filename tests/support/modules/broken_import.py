import samovar


def prepare():
    raise LookupError("no model here")


prepare()


@samovar.method
def never():
    pass
