"""What a table cannot say: ``configs/`` stays at the top of the checkout and is carried in the package as well."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["tops", "tops.*"]), "tops.configs"], package_dir={"tops.configs": "configs"})
