import samovar


@samovar.method
def half(:
