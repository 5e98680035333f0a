import time

import samovar


@samovar.preload
def load_model():
    print("loading for ever")
    time.sleep(1000)


@samovar.method
def never():
    pass
