"""Makes three pictures to try it on: good.png, bad.png, dark.png."""

import cv2
import numpy as np

CENTRES = [(120, 120), (320, 120), (520, 120), (120, 360), (320, 360), (520, 360)]


def plate(diameters=(40, 40, 40, 40, 40, 40)):
    """A bright plate with a hole of each diameter."""
    picture = np.full((480, 640, 3), 15, np.uint8)
    cv2.rectangle(picture, (40, 40), (600, 440), (190, 190, 200), -1)
    for centre, diameter in zip(CENTRES, diameters, strict=True):
        cv2.circle(picture, centre, diameter // 2, (15, 15, 15), -1)
    noise = np.random.default_rng(1).normal(0, 4, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    cv2.imwrite("good.png", plate())
    cv2.imwrite("bad.png", plate((40, 40, 12, 40, 40, 40)))
    cv2.imwrite("dark.png", np.full((480, 640, 3), 3, np.uint8))
