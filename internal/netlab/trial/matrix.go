package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"consilium/internal/netlab"
)

// together is how many calls of Pion clients are held at a time. Most of an
// attempt is waiting; more than this, and two processors are what is measured.
const together = 5

// Matrix tries every client in every network.
type Matrix struct {
	Profiles []netlab.Profile
	Kinds    []Kind
	Attempts map[Kind]int // how often each client tries, for each network
	Root     string       // of the repository
	Dir      string       // for logs; "" is a temporary directory that goes
	Progress io.Writer

	Record string // file that keeps each cell as soon as it is done; "": none
	// Resume keeps the cells that are in Record from the same commit. Those of
	// Profiles are not tried again, unless Again.
	Resume, Again bool
}

// Cell is what came of one client's attempts in one network.
type Cell struct {
	Network string
	Client  Kind
	Commit  string
	Took    time.Duration
	Results []Result

	profile netlab.Profile
}

// Run tries everything and writes the table, of all cells that are known. The
// error is set if calls failed where they must not.
func (m Matrix) Run(ctx context.Context, out io.Writer) (err error) {
	dir := m.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "lab-"); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	programs, err := Build(ctx, m.Root, dir)
	if err != nil {
		return err
	}
	known, err := openRecord(m.Record, m.commit(ctx), m.Resume)
	if err != nil {
		return err
	}
	begun := time.Now()
	for i, p := range m.Profiles {
		var kinds []Kind
		for _, kind := range m.Kinds {
			if m.Again || !known.has(p.Name, kind, m.Attempts[kind]) {
				kinds = append(kinds, kind)
			}
		}
		if len(kinds) == 0 {
			continue
		}
		fmt.Fprintf(m.Progress, "[%d of %d, %s] %s: %s\n", i+1, len(m.Profiles), time.Since(begun).Round(time.Second), p.Name, p.Summary)
		if err := m.network(ctx, p, kinds, programs, filepath.Join(dir, p.Name), known); err != nil {
			return err
		}
	}
	return writeTable(out, known)
}

// commit names what is tried: but for the documentation, the tree must be clean
// for it to be the truth.
func (m Matrix) commit(ctx context.Context) string {
	git := func(args ...string) string {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", m.Root}, args...)...).Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	id := git("rev-parse", "--short=12", "HEAD")
	if git("status", "--porcelain", "-uno", "--", ".", ":!docs") != "" {
		id += " with changes"
	}
	return id
}

// network lets clients try one network, one kind after the other.
func (m Matrix) network(ctx context.Context, p netlab.Profile, kinds []Kind, programs Programs, dir string, known *record) error {
	v := &venue{profile: p, programs: programs, dir: dir}
	defer func() {
		if err := v.close(); err != nil {
			fmt.Fprintf(m.Progress, "%s: %v\n", p.Name, err)
		}
	}()
	for _, kind := range kinds {
		c, begun := Cell{Network: p.Name, Client: kind, Commit: known.commit, profile: p}, time.Now()
		for len(c.Results) < m.Attempts[kind] {
			n := min(m.Attempts[kind]-len(c.Results), atATime(p, kind))
			for _, r := range v.try(ctx, kind, n) {
				c.Results = append(c.Results, r)
				fmt.Fprintf(m.Progress, "%s %s %d: %s\n", p.Name, kind, len(c.Results), c.describe(r))
			}
			if ctx.Err() != nil {
				return ctx.Err() // half a cell is no result
			}
		}
		c.Took = time.Since(begun)
		if err := known.add(c); err != nil {
			return err
		}
		v.rest(kind)
	}
	return nil
}

// atATime is how many calls a network carries without measuring each other.
// Where there are none, browsers only wait.
func atATime(p netlab.Profile, kind Kind) int {
	switch {
	case p.Narrow():
		return 1
	case kind == Pion, len(p.Paths) == 0:
		return together
	}
	return 1
}

// venue is a site that is opened when it is needed and, after an attempt that
// broke, again.
type venue struct {
	profile  netlab.Profile
	programs Programs
	dir      string
	opened   int
	site     *Site
}

func (v *venue) try(ctx context.Context, kind Kind, n int) []Result {
	if v.site == nil {
		v.opened++
		dir := filepath.Join(v.dir, fmt.Sprint(v.opened))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return broken(n, fmt.Errorf("make directory: %w", err))
		}
		site, err := Open(ctx, v.profile, v.programs, dir)
		if err != nil {
			return broken(n, err)
		}
		v.site = site
	}
	results := v.site.Try(ctx, kind, n)
	if slices.ContainsFunc(results, func(r Result) bool { return r.Broken != "" }) {
		if err := v.close(); err != nil {
			results[0].Broken += "; " + err.Error()
		}
	}
	return results
}

func (v *venue) rest(kind Kind) {
	if v.site != nil {
		_ = v.site.Rest(kind) // closing the site says so again
	}
}

func (v *venue) close() error {
	site := v.site
	if site == nil {
		return nil
	}
	v.site = nil
	return site.Close()
}
