"""Record a drawing on the page that extras.explore wrote, in Chromium, as a GIF.

python -m extras.explore
python docs/draw.py explore.html docs/draw.gif docs/preview.png

The last file is a screenshot of 1200 × 630, for links to the page.
"""

import io
import pathlib
import shutil
import sys
import time
from collections.abc import Iterator

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains

DIGIT = [(-70, -80), (0, -88), (70, -80), (35, -10), (5, 50), (-15, 95)]  # a seven
STEPS = 5  # frames between two of its points
DRAWS = 12  # frames in which ε is drawn


def frame(driver: webdriver.Chrome) -> Image.Image:
    """Return a screenshot."""
    return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")


def resize(driver: webdriver.Chrome, width: int, height: int) -> None:
    """Give the page's part of the window this size."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def film(driver: webdriver.Chrome) -> Iterator[Image.Image]:
    """Draw a seven, then draw ε several times. Yield screenshots."""
    pad, hold = driver.find_element("id", "pad"), ActionChains(driver, duration=0)
    hold.move_to_element_with_offset(pad, *DIGIT[0]).click_and_hold().perform()
    at = np.arange(1, STEPS * (len(DIGIT) - 1) + 1) / STEPS
    right, down = (np.interp(at, range(len(DIGIT)), k) for k in np.transpose(DIGIT))
    places = np.rint(np.stack([right, down], axis=1)).astype(int)
    for step in np.diff(places, axis=0, prepend=DIGIT[:1]).tolist():
        ActionChains(driver, duration=0).move_by_offset(*step).perform()
        yield frame(driver)
    ActionChains(driver, duration=0).release().perform()
    yield from [frame(driver)] * 5
    driver.find_element("id", "sample").click()
    for _ in range(DRAWS):
        yield frame(driver)


def main(page: str, output: str, preview: str) -> None:
    options = webdriver.ChromeOptions()
    for name in ("headless=new", "no-sandbox", "hide-scrollbars"):
        options.add_argument(f"--{name}")
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        resize(driver, 1200, 630)
        driver.get(pathlib.Path(page).resolve().as_uri())
        time.sleep(3)  # for the tour to leave a tail
        frame(driver).save(preview, optimize=True)
        resize(driver, 1280, 720)
        frames = [image.resize((896, 504)) for image in film(driver)]
    finally:
        driver.quit()
    # One palette for all frames, so that still parts cost nothing.
    colors = frames[-1].quantize(200, method=Image.Quantize.MAXCOVERAGE)
    frames = [image.quantize(palette=colors, dither=0) for image in frames]
    frames[0].save(
        output, save_all=True, append_images=frames[1:], duration=120, loop=0
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
