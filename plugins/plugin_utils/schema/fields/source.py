"""The fields of `source`: where the code comes from."""

from __future__ import annotations

from ....module_utils.values import urls, versions
from ..kinds import Field, Flag, Section, Text
from ..rules import paths, sources
from .texts import CODE_PATH

SOURCE = Section(
    (
        Field(
            "git",
            Text(urls.git_url, "URL that git can clone", "https://git.example.com/team/blog.git", show=False),
            "Git repository of the code. Needs `version`.",
            "git: https://git.example.com/team/blog.git",
        ),
        Field(
            "version",
            Text(versions.git_version, "tag, branch or commit", "v1.4.0"),
            "Version to deploy. A tag or a commit is the same on every host and every day; a branch is not.",
            "version: v1.4.0",
        ),
        Field(
            "key",
            Text(paths.key_path, "file on the controller", "secrets/blog_deploy_key", show=False),
            "Private key for the repository; the file may be encrypted by ansible-vault. A relative path starts"
            " at the root of this repository.",
            "key: secrets/blog_deploy_key",
        ),
        Field(
            "known_hosts",
            Text(
                sources.known_hosts,
                "lines as in known_hosts",
                "git.example.com ssh-ed25519 AAAA…",
                show=False,
            ),
            "Host keys of the git server, as `ssh-keyscan` prints them; compare them with the keys that the "
            "server's owner publishes.",
            "known_hosts: git.example.com ssh-ed25519 AAAA…",
        ),
        Field(
            "path",
            Text(paths.controller_path, "directory on the controller", "examples/django"),
            "Directory of the code on the controller. A relative path starts at the root of this repository.",
            "path: examples/django",
        ),
        Field(
            "archive",
            Text(sources.archive, "URL, or file on the controller", "dist/blog-1.4.0.tar.gz", show=False),
            "Archive of the code (tar with gz, xz or bz2, or zip): a URL that the host fetches, or a file on "
            "the controller. A single top-level directory is stripped. Needs `checksum`.",
            "archive: https://example.com/blog-1.4.0.tar.gz",
        ),
        Field(
            "checksum",
            Text(sources.checksum, "sha256:…", f"sha256:{'0' * 64}"),
            "Output of `sha256sum` for the archive. It is the revision: another checksum makes another release.",
            f"checksum: sha256:{'0' * 64}",
        ),
        Field(
            "package",
            Text(sources.package, "package of the index with its exact version", "kinto==25.1.0"),
            "Package to install from the package index; the code then consists of `files` alone. Pin its "
            "dependencies with `requirements`, which may name one of the `files`.",
            "package: kinto==25.1.0",
        ),
        Field(
            "subdirectory",
            CODE_PATH,
            "Directory of the code inside the repository, directory or archive; all paths of the app start "
            "there.",
            "subdirectory: services/blog",
        ),
        Field(
            "submodules",
            Flag(),
            "Whether to fetch the repository's submodules, recursively, with the same key.",
            "submodules: true",
            default=False,
        ),
    ),
    exactly_one_of=("git", "path", "archive", "package"),
)
