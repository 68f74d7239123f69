"""What --data takes, and what to do about files that it does not."""

import os

from support.errors import UserError
from support.folders import is_picture
from support.readers import find_files, is_array

NAMES = ("mnist", "fashion_mnist", "cifar10", "cifar100", "mnist_sample")
SOURCES = (
    f"{', '.join(NAMES)}, a folder of images or of IDX files, an image, or an .npz,"
    " .npy or .csv file"
)
SAVE = 'in Python, np.save("images.npy", {}); then --data images.npy'
RECIPES = {  # by the endings of files
    (".mat",): SAVE.format('scipy.io.loadmat(r"PATH")["NAME OF THE IMAGES"]'),
    (".h5", ".hdf", ".hdf5"): SAVE.format(
        'h5py.File(r"PATH")["NAME OF THE IMAGES"][()]'
    ),
    (".amat", ".txt"): SAVE.format('np.loadtxt(r"PATH")'),
    (".pt", ".pth"): SAVE.format('torch.load(r"PATH").numpy()'),
    (".parquet",): "make a folder photos; in Python, for i, x in enumerate("
    'pandas.read_parquet(r"PATH")["image"]): open(f"photos/{i}.png", "wb").write('
    'x["bytes"]); then --data photos',
    (".zip",): 'unpack it, python -m zipfile -e "PATH" images; then --data images',
    (".tar", ".tar.gz", ".tgz"): 'unpack it, python -m tarfile -e "PATH" images; then'
    " --data images",
}


def check_source(source: str) -> None:
    """Raise UserError, with what to do, if `load` cannot read a source."""
    if source in NAMES or os.path.isdir(source):
        return
    if not os.path.isfile(source):
        problem = "is not a file" if os.path.exists(source) else "does not exist"
        raise UserError(f"{source} {problem}: give --data {SOURCES}")
    if is_array(source):
        return
    for endings, recipe in RECIPES.items():
        if source.lower().endswith(endings):
            recipe = recipe.replace("PATH", source)
            raise UserError(f"cannot read {source} directly: {recipe}")
    if not is_picture(source):
        raise UserError(f"{source} is not a data set: give --data {SOURCES}")


def is_pictures(source: str | None) -> bool:
    """Return whether a source is an image file, or a folder without files of arrays."""
    if source is None or source in NAMES:
        return False
    return not find_files(source) if os.path.isdir(source) else is_picture(source)
