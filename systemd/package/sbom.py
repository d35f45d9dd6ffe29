"""Writes the software bill of materials of a staged package as CycloneDX 1.6 JSON, and the licences of the Go modules:
sbom.py VERSION EPOCH STAGED-USR LICENCES. The modules are read from the built program, the rest from the staged files."""

import datetime
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import uuid

ONNX_RUNTIME = re.compile(r"^onnxruntime==([0-9.]+)", re.M)
HERE = pathlib.Path(__file__).resolve().parent


def licence_of(text):
    """The SPDX identifier of a licence text, None if it is not one of the usual ones."""
    text = " ".join(text.split())
    if "Apache License" in text:
        return "Apache-2.0"
    if "Mozilla Public License" in text:
        return "MPL-2.0"
    if "Permission is hereby granted, free of charge" in text:
        return "MIT"
    if "Redistribution and use in source and binary forms" in text:
        return "BSD-3-Clause" if "Neither the name" in text else "BSD-2-Clause"
    if "Permission to use, copy, modify, and" in text:
        return "ISC"
    return None


def module_folder(cache, path, version):
    """The folder of a module in the module cache, which writes a capital letter as ! and the small one."""
    escaped = re.sub("[A-Z]", lambda m: "!" + m[0].lower(), f"{path}@{version}")
    return cache / escaped


def digest(path):
    return {"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}


def modules(program, licences):
    """The Go modules that are linked into a program, as components. Their licence texts go to the file licences."""
    info = json.loads(subprocess.run(["go", "version", "-m", "-json", program], check=True, capture_output=True, text=True).stdout)
    cache = pathlib.Path(subprocess.run(["go", "env", "GOMODCACHE"], check=True, capture_output=True, text=True).stdout.strip())
    go = info["GoVersion"].removeprefix("go").split()[0]
    yield {"type": "library", "name": "Go standard library", "version": go, "purl": f"pkg:golang/std@{go}",
           "bom-ref": "std", "licenses": [{"license": {"id": "BSD-3-Clause"}}]}
    with licences.open("w") as out:
        for module in info["Deps"]:
            module = module.get("Replace") or module
            path, version = module["Path"], module["Version"]
            component = {"type": "library", "name": path, "version": version, "purl": f"pkg:golang/{path}@{version}", "bom-ref": path}
            for file in sorted(module_folder(cache, path, version).glob("LICEN[SC]E*")):
                text = file.read_text(errors="replace")
                out.write(f"{path} {version}\n\n{text.strip()}\n\n{'-' * 80}\n\n")
                if licence_of(text) and "licenses" not in component:
                    component["licenses"] = [{"license": {"id": licence_of(text)}}]
            yield component


def main(version, epoch, usr, licences):
    usr = pathlib.Path(usr)
    components = list(modules(usr / "bin/ichor", pathlib.Path(licences)))
    runtime = ONNX_RUNTIME.search((HERE / "../../models/onnx/runtime.txt").read_text())[1]
    library = usr / f"lib/ichor/libonnxruntime.so.{runtime}"
    components.append({"type": "library", "name": "onnxruntime", "version": runtime, "purl": f"pkg:pypi/onnxruntime@{runtime}",
                       "bom-ref": "onnxruntime", "hashes": [digest(library)], "licenses": [{"license": {"id": "MIT"}}],
                       "description": "the C library of this wheel; no Python is installed"})
    for manifest in sorted(usr.glob("share/ichor/bundles/*/manifest.json")):
        bundle = json.loads(manifest.read_text())
        components.append({"type": "machine-learning-model", "name": bundle["name"], "version": bundle["version"],
                           "bom-ref": "bundle:" + bundle["name"], "purl": f"pkg:generic/{bundle['name']}@{bundle['version']}",
                           "hashes": [digest(manifest)], "licenses": [{"license": {"id": bundle["licence"]}}],
                           "description": bundle["description"]})
    ichor = {"type": "application", "name": "ichor", "version": version, "bom-ref": "ichor", "purl": f"pkg:generic/ichor@{version}",
             "hashes": [digest(usr / "bin/ichor")], "licenses": [{"license": {"id": "Apache-2.0"}}],
             "description": "DICOM node that segments hemorrhage on head CT. Research use only. Not for clinical use."}
    serial = uuid.uuid5(uuid.NAMESPACE_URL, ichor["hashes"][0]["content"] + components[-1]["hashes"][0]["content"])
    json.dump({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1,
        "metadata": {"timestamp": datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                     "component": ichor},
        "components": components,
        "dependencies": [{"ref": "ichor", "dependsOn": [c["bom-ref"] for c in components]}],
    }, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
