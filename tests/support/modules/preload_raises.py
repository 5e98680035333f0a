import samovar


@samovar.preload
def load_model():
    raise OSError("model.bin is not there")


@samovar.method
def never():
    pass
