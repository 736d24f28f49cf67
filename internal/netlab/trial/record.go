package trial

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"consilium/internal/netlab"
)

// record keeps cells, in memory and in a file of JSON lines, so that a run that
// was ended can go on. Of two cells for the same client and network the later
// one holds.
type record struct {
	file   string // "": only in memory
	commit string
	cells  []Cell
}

// openRecord reads the cells of a commit if they are to be kept, and starts the
// file anew otherwise.
func openRecord(file, commit string, keep bool) (*record, error) {
	r := &record{file: file, commit: commit}
	if file == "" {
		return r, nil
	}
	if !keep {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("start record: %w", err)
		}
		return r, nil
	}
	in, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open record: %w", err)
	}
	defer in.Close()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c Cell
		if json.Unmarshal(lines.Bytes(), &c) != nil {
			continue // cut short when the run was killed
		}
		if c.profile, err = netlab.FindProfile(c.Network); err == nil && c.Commit == commit {
			r.put(c)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	return r, nil
}

func (r *record) index(network string, client Kind) int {
	return slices.IndexFunc(r.cells, func(c Cell) bool { return c.Network == network && c.Client == client })
}

// has reports whether a client has tried a network often enough.
func (r *record) has(network string, client Kind, attempts int) bool {
	i := r.index(network, client)
	return i >= 0 && len(r.cells[i].Results) >= attempts
}

func (r *record) put(c Cell) {
	if i := r.index(c.Network, c.Client); i >= 0 {
		r.cells[i] = c
		return
	}
	r.cells = append(r.cells, c)
}

// add keeps a cell, in the file too.
func (r *record) add(c Cell) error {
	r.put(c)
	if r.file == "" {
		return nil
	}
	line, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode cell: %w", err)
	}
	out, err := os.OpenFile(r.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open record: %w", err)
	}
	// A new line first: what was cut short must not spoil this one.
	_, err = out.Write(slices.Concat([]byte("\n"), line))
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}
