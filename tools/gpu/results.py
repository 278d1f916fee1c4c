"""What the suite keeps of its results: whole at any time, also if the disk is full or the machine goes away."""

import contextlib
import json
import sys
import tarfile


def reason_of(error):
    return f"{type(error).__name__}: {error}"


def write_json(path, value):
    """Whole or not at all, also if the machine goes away."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def archive(out, file):
    """Everything so far in one compressed file, whole at any time. No archives: they may lie in the same folder."""
    temporary = file.with_name(file.name + ".tmp")

    def kept(member):
        path = out.parent / member.name
        return None if path in (file, temporary) or {".tgz", ".tar"} & set(path.suffixes) else member

    try:
        with tarfile.open(temporary, "w:gz") as tar:
            tar.add(out, arcname=out.name, filter=kept)
        temporary.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()  # the disk may be full
        raise


def check_archive(file):
    """Ends the program, with a message, where no archive could be made."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"gpu_suite: no folder for the archive {file}: {reason_of(error)}")
    if file.is_dir():
        sys.exit(f"gpu_suite: the archive {file} is a folder; please name a file")


def keep(results, out, file):
    """Writes what is known so far. A disk that is full now may not be after the next stage: that only warns."""
    steps = [(out / "stages.json", lambda: write_json(out / "stages.json", results))]
    if file:
        steps.append((file, lambda: archive(out, file)))
    for path, write in steps:
        try:
            write()
        except Exception as error:
            print(f"gpu_suite: warning: {path} is not up to date: {reason_of(error)}", file=sys.stderr, flush=True)


def print_table(results):
    for name, result in results.items():
        print(f"{name:28} {result['state']:8} {result.get('seconds', 0):6.1f} s  {result.get('reason', '')}")


def warn_of_other_programs(results, programs):
    others = [name for name, result in results.items()
              if result["state"] == "done" and result.get("programs") != programs]
    if others:
        print(f"gpu_suite: warning: other programs than these ({programs}) have done {', '.join(others)}; "
              "--again repeats them, another --out keeps them apart", file=sys.stderr)
