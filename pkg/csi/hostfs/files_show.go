package hostfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// show makes the links through which readers see a version. A directory above a mount point is a real one, with links of
// its own; what a mount point covers has no link.
//
//	dir/conf.d/a.conf -> ../..data/conf.d/a.conf    dir/conf.d/cache/ (mount point)
func show(root *os.Root, version string, points []string) error {
	for _, dir := range above(points) {
		if err := makeReal(root, dir); err != nil {
			return err
		}
	}
	links, err := linksTo(root, version, points)
	if err != nil {
		return err
	}
	for name, to := range links {
		got, err := root.Readlink(name)
		if err == nil && got == to.target {
			continue
		}
		if info, err := root.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink == 0 {
			continue // a mount point of before
		}
		if err == nil {
			err = root.Remove(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := root.Symlink(to.target, name); err != nil {
			return err
		}
		if to.owner != 0 {
			if err := root.Lchown(name, to.owner, -1); err != nil {
				return err
			}
		}
	}
	return pruneLinks(root, ".", links)
}

// above lists the directories above mount points, the highest first.
func above(points []string) []string {
	var dirs []string
	for _, p := range points {
		for d := path.Dir(p); d != "." && !own(topOf(p)); d = path.Dir(d) {
			dirs = append(dirs, d)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

func topOf(name string) string {
	top, _, _ := strings.Cut(name, "/")
	return top
}

// makeReal makes a directory in the place of the link that may be there.
func makeReal(root *os.Root, dir string) error {
	info, err := root.Lstat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		err = root.Remove(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return root.Mkdir(dir, 0o755)
}

// link is one that shows a file, or a directory of files. Its owner is theirs.
type link struct {
	target string
	owner  int
}

// linksTo are the links that show a version's files, by path.
func linksTo(root *os.Root, version string, points []string) (map[string]link, error) {
	dirs, links := above(points), map[string]link{}
	if version == "" {
		return links, nil
	}
	err := fs.WalkDir(root.FS(), version, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		at, ok := linkOf(strings.TrimPrefix(name, version+"/"), dirs, points)
		if !ok {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		to := link{target: strings.Repeat("../", strings.Count(at, "/")) + path.Join(dataLink, at)}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			to.owner = int(st.Uid)
		}
		links[at] = to
		return nil
	})
	return links, err
}

// linkOf is the link that shows a file: the highest of its directories that is not above a mount point, or itself.
func linkOf(file string, dirs, points []string) (string, bool) {
	for i, c := range file + "/" {
		if c != '/' {
			continue
		}
		link := file[:i]
		switch {
		case slices.Contains(dirs, link):
		case slices.Contains(points, link), own(link):
			return "", false
		default:
			return link, true
		}
	}
	return "", false
}

var versionName = regexp.MustCompile(`^\.\.\d{4}(_\d\d){5}\.\d+$`)

// own reports whether a name at the top of a directory is the writer's, or was another agent's.
func own(name string) bool { return strings.HasPrefix(name, dataLink) || versionName.MatchString(name) }

// pruneLinks removes the links that are no longer wanted, and leaves mount points.
func pruneLinks(root *os.Root, dir string, links map[string]link) error {
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return fmt.Errorf("cannot list the volume's files: %w", err)
	}
	var errs []error
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case own(name):
		case e.IsDir():
			errs = append(errs, pruneLinks(root, name, links))
		case e.Type() == fs.ModeSymlink && links[name].target == "":
			errs = append(errs, root.Remove(name))
		}
	}
	return errors.Join(errs...)
}

// pruneVersions removes versions that are no longer shown, and what a killed writer left.
func pruneVersions(root *os.Root, keep []string) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return fmt.Errorf("cannot list the volume's files: %w", err)
	}
	var errs []error
	for _, e := range entries {
		name := e.Name()
		if own(name) && name != dataLink && !slices.Contains(keep, name) {
			errs = append(errs, root.RemoveAll(name))
		}
	}
	return errors.Join(errs...)
}

// VersionIn finds the name of a version in a path that leads into it; "" for none.
func VersionIn(p string) string {
	for part := range strings.SplitSeq(p, "/") {
		if versionName.MatchString(part) {
			return part
		}
	}
	return ""
}

// ContentRoot is the directory in which a part of what WriteFiles wrote is found whole: beside mount points, links take the
// place of files. What is not there is looked for in the directory itself.
func ContentRoot(dir, part string) string {
	shown := path.Join(dir, dataLink)
	if path.Clean(part) == "." {
		return dir
	}
	if f, err := OpenBeneath(shown, path.Clean(part)); err == nil {
		f.Close()
		return shown
	}
	return dir
}

// Point is a mount point in a directory.
type Point struct {
	Path   string // relative, clean
	Dir    bool   // a directory is mounted there, and no file
	Shared bool   // others may have mounted there: one of the other type is not replaced
}

// MakePoint makes a mount point in a directory. In one that WriteFiles writes, the points are all of those in it, and the
// files beside them stay visible; in another, they are nil.
func MakePoint(dir string, p Point, points []string) error {
	if err := checkTarget(p.Path); err != nil {
		return err
	}
	if own(topOf(p.Path)) {
		return fmt.Errorf("cannot make the mount point %s in %s: names like this belong to the volume itself", p.Path, dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if points != nil {
		version, err := shownVersion(root)
		if err == nil {
			err = show(root, version, points)
		}
		if err != nil {
			return Explain(fmt.Errorf("cannot make room for the mount point %s in %s: %w", p.Path, dir, err))
		}
	}
	if err := p.make(root); err != nil {
		return Explain(fmt.Errorf("cannot make the mount point %s in %s: %w", p.Path, dir, err))
	}
	return nil
}

func (p Point) make(root *os.Root) error {
	info, err := root.Lstat(p.Path)
	switch {
	case err == nil && info.IsDir() == p.Dir && info.Mode()&fs.ModeSymlink == 0:
		return nil
	case err == nil && p.Shared && info.Mode()&fs.ModeSymlink == 0:
		return errors.New("one container mounts a file there, another a directory: mount them at different paths")
	case err == nil:
		err = root.Remove(p.Path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := root.MkdirAll(path.Dir(p.Path), 0o755); err != nil {
		return err
	}
	if p.Dir {
		return root.Mkdir(p.Path, 0o755)
	}
	f, err := root.OpenFile(p.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// isFilePoint tells a mount point of a file from files with content: it is empty and nobody may read it.
func isFilePoint(d fs.DirEntry) bool {
	info, err := d.Info()
	return err == nil && info.Mode() == 0 && info.Size() == 0
}
