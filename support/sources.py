"""What --data takes, and what to do about files that it does not."""

import os

from support.errors import UserError
from support.folders import is_picture
from support.readers import ENDINGS, find_files

NAMES = ("mnist", "fashion_mnist", "cifar10", "cifar100", "mnist_sample")
SOURCES = (
    f"{', '.join(NAMES)}, a folder of images or of IDX files, an image, or an .npz,"
    " .npy or .csv file"
)
SAVE = 'np.save("images.npy", {}), and give --data images.npy'
RECIPES = {  # for files that are not read as they are
    ".mat": SAVE.format('scipy.io.loadmat("PATH")["NAME OF THE IMAGES"]'),
    ".h5": SAVE.format('h5py.File("PATH")["NAME OF THE IMAGES"][()]'),
    ".amat": SAVE.format('np.loadtxt("PATH", dtype="uint8")'),
    ".pt": SAVE.format('torch.load("PATH").numpy()'),
    ".parquet": 'for i, image in enumerate(pandas.read_parquet("PATH")["image"]):'
    ' open(f"photos/{i}.png", "wb").write(image["bytes"]); then give --data photos',
    ".zip": "unpack it, python -m zipfile -e PATH images, and give --data images",
    ".tar": "unpack it, python -m tarfile -e PATH images, and give --data images",
}
SAME = {".hdf5": ".h5", ".hdf": ".h5", ".txt": ".amat", ".tgz": ".tar", ".gz": ".tar"}
RECIPES |= {ending: RECIPES[other] for ending, other in SAME.items()}


def check_source(source: str) -> None:
    """Raise UserError, with what to do, if `load` cannot read a source."""
    if source in NAMES or os.path.isdir(source):
        return
    ending = os.path.splitext(source)[1].lower()
    readable = source.lower().endswith(ENDINGS) or is_picture(source)
    if not os.path.isfile(source):
        problem = "is no file" if os.path.exists(source) else "does not exist"
        raise UserError(f"{source} {problem}: give --data {SOURCES}")
    if ending in RECIPES and not readable or ending in (".h5", ".hdf"):
        recipe = RECIPES[ending].replace("PATH", source)
        raise UserError(f"{source} is not read as it is: {recipe}")
    if not readable:
        raise UserError(f"{source} is not a data set: give --data {SOURCES}")


def is_pictures(source: str | None) -> bool:
    """Return whether a source is an image file, or a folder without files of arrays."""
    if source and os.path.isdir(source):
        return not find_files(source)
    return bool(source) and source not in NAMES and is_picture(source)
