# Sourced by test.sh: makes sure that there is a Vulkan, Metal or DX12 adapter to test the WGSL kernels on, and where a
# Debian or Ubuntu machine has none, installs the software one. Needs the program at $SHIFTNET.
# Without a desktop session, a layer of Mesa complains about the missing display.
[ -n "${XDG_RUNTIME_DIR:-}" ] || export NODEVICE_SELECT=1

has_adapter() {
    "$SHIFTNET" devices --json 2>/dev/null | grep -q '"backend":"\(vulkan\|metal\|dx12\|gl\)"'
}

ensure_adapter() {
    has_adapter && return 0
    if ! command -v apt-get >/dev/null; then
        echo "No Vulkan, Metal or DX12 adapter was found. Install your GPU's driver, or Mesa's software Vulkan driver." >&2
        return 1
    fi
    echo "No GPU adapter was found: installing Mesa's software Vulkan driver (mesa-vulkan-drivers libvulkan1) with apt-get."
    local sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq mesa-vulkan-drivers libvulkan1 >/dev/null
    has_adapter && return 0
    echo "There is still no adapter after the installation; \`$SHIFTNET devices\` shows what there is." >&2
    return 1
}
