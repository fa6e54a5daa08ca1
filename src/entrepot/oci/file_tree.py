"""The files that layers add up to, without their content: what flattening keeps of each layer.

The rules are those of unpacking (`layer_path` for names and whiteouts), applied to members in
memory; content is told by where it stands: the layer and the number of the member in it.
Source: image-spec, layer.md, "Applying Changesets".
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from entrepot.oci.errors import ContentInvalid
from entrepot.oci.layer_path import MOST_DEPTH, Path, is_aufs, read_whiteout, split_name
from entrepot.oci.tar_member import Member, shown

_MOST_LINKS: Final = 40
_MOST_STEPS: Final = 4096
_IMPLIED: Final = Member(b"", "directory", mode=0o755)


class Inode:
    """A file, shared by its hard links: the member that made it, in which layer, as which one."""

    __slots__ = ("layer", "member", "ordinal")

    def __init__(self, member: Member, layer: int, ordinal: int) -> None:
        self.member = member
        self.layer = layer
        self.ordinal = ordinal


class _Node:
    __slots__ = ("below", "inode", "passed", "written")

    def __init__(self, inode: Inode) -> None:
        self.inode = inode
        self.below: dict[bytes, _Node] = {}
        self.written = -1  # the layer that last wrote it
        self.passed = -1  # the layer that last wrote something below it


class FileTree:
    """What is left of the layers applied so far."""

    def __init__(self) -> None:
        self._root = _Node(Inode(_IMPLIED, -1, -1))
        self._layer = -1
        self._where = ""
        self.entries = 0

    def apply(self, members: Iterable[Member], where: str) -> None:
        """Add a layer. Raise ContentInvalid naming `where` and the entry."""
        self._layer += 1
        self._where = where
        for ordinal, member in enumerate(members):
            self.entries += 1
            path = split_name(member.name, where)
            if is_aufs(path):
                continue
            whiteout = read_whiteout(path, where)
            if whiteout is not None:
                self._white_out(whiteout.folder, whiteout.name, member)
            elif path:
                self._write(path, member, ordinal)
            elif member.kind == "directory":
                self._root.inode = Inode(member, self._layer, ordinal)
            else:
                raise self._refused(member, "would replace the root directory")

    def files(self) -> Iterator[tuple[Path, Inode]]:
        """Yield all files by path, directories before what is in them; the root has no path."""
        pending: list[tuple[Path, _Node]] = [((), self._root)]
        while pending:
            path, node = pending.pop()
            yield path, node.inode
            below = sorted(node.below.items(), reverse=True)
            pending += [((*path, name), child) for name, child in below]

    def _write(self, path: Path, member: Member, ordinal: int) -> None:
        stack = self._folder(path[:-1], member, create=True)
        assert stack is not None, "it was created"
        if len(stack) > MOST_DEPTH:
            raise self._refused(member, f"is more than {MOST_DEPTH} folders deep")
        name, folder = path[-1], stack[-1]
        inode = Inode(member, self._layer, ordinal)
        if member.kind == "link":
            inode = self._link_target(member)
        node = folder.below.get(name)
        if node is None or member.kind != "directory" or node.inode.member.kind != "directory":
            node = folder.below[name] = _Node(inode)
        node.inode = inode
        node.written = self._layer
        for passed in stack:
            passed.passed = self._layer

    def _link_target(self, member: Member) -> Inode:
        path = split_name(member.target, self._where)
        stack = self._folder(path[:-1], member, create=False) if path else None
        target = stack[-1].below.get(path[-1]) if stack else None
        if target is None or target.inode.member.kind == "directory":
            raise self._refused(
                member, f"is a hard link to {shown(member.target)}, which is no file that is there"
            )
        return target.inode

    def _white_out(self, folder: Path, name: bytes | None, member: Member) -> None:
        stack = self._folder(folder, member, create=False)
        if stack is None:
            return
        pending = [(stack[-1], one) for one in (list(stack[-1].below) if name is None else [name])]
        while pending:
            parent, one = pending.pop()
            node = parent.below.get(one)
            if node is None:
                continue
            if self._layer not in (node.written, node.passed):
                del parent.below[one]
            elif node.inode.member.kind == "directory":
                if node.written != self._layer:
                    node.inode = Inode(_IMPLIED, -1, -1)
                pending += [(node, below) for below in list(node.below)]

    def _folder(self, path: Path, member: Member, *, create: bool) -> list[_Node] | None:
        """Return the nodes from the root to a directory, following symlinks inside."""
        stack, pending = [self._root], deque(path)
        links = steps = 0
        while pending:
            steps += 1
            name = pending.popleft()
            if name in (b"", b"."):
                continue
            if name == b"..":
                stack = stack[:-1] if len(stack) > 1 else stack
                continue
            node = stack[-1].below.get(name)
            if node is not None and node.inode.member.kind == "symlink":
                links += 1
                if links > _MOST_LINKS or steps > _MOST_STEPS:
                    raise self._refused(member, "leads through too many symlinks")
                target = node.inode.member.target
                pending.extendleft(reversed(target.split(b"/")))
                stack = [self._root] if target.startswith(b"/") else stack
                continue
            if node is None or node.inode.member.kind != "directory":
                if not create:
                    return None
                node = self._implied(stack, name, node, member)
            stack.append(node)
        return stack

    def _implied(self, stack: list[_Node], name: bytes, there: _Node | None, by: Member) -> _Node:
        if there is not None and there.written == self._layer:
            raise self._refused(by, "stands below a file that is no folder")
        if len(stack) > MOST_DEPTH:
            raise self._refused(by, f"is more than {MOST_DEPTH} folders deep")
        node = stack[-1].below[name] = _Node(Inode(_IMPLIED, -1, -1))
        return node

    def _refused(self, member: Member, problem: str) -> ContentInvalid:
        return ContentInvalid(
            f"{self._where}, entry {shown(member.name)}, {problem}; do not use this image, or "
            "rebuild it",
            detail={"entry": shown(member.name)},
        )
