#!/usr/bin/env bash
# Programs that the browser and cluster tests need: Chromium with its driver, a Slurm of one machine, zsh and fonts.
# Installs what is missing from the distribution (Debian, Ubuntu); elsewhere it names what to install.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need chromium chromium
need chromedriver chromium-driver
need slurmctld slurm-wlm
need munged munge
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "install ${missing[*]} (apt-get install ${missing[*]}, as root); the tests that need them skip until then" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" fonts-noto-cjk
