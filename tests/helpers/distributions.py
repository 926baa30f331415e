"""Installed packages with a plug-in, as pip would leave them."""


def install(folder, name, module, source, version="1.2"):
    """What pip leaves of a distribution with an entry point."""
    facts = folder / f"{name}.dist-info"
    facts.mkdir(parents=True, exist_ok=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (facts / "entry_points.txt").write_text(f"[biformer_lit.plugins]\nidea = {module}\n")
    path = folder / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
