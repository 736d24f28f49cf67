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

// Matrix tries every client in every network.
type Matrix struct {
	Profiles []netlab.Profile
	Kinds    []Kind
	Attempts map[Kind]int // how often each client tries, for each network
	Root     string       // of the repository
	Dir      string       // for logs; "" is a temporary directory that goes
	Progress io.Writer
}

// Cell is what came of one client's attempts in one network.
type Cell struct {
	Profile netlab.Profile
	Kind    Kind
	Results []Result
}

// Run tries everything and writes the table. The error is set if calls failed
// where they must not.
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
	begun := time.Now()
	fmt.Fprintf(out, "Commit %s, %s.\n\n%s", m.commit(ctx), begun.UTC().Format(time.DateOnly), tableHead)
	bad := 0
	for _, p := range m.Profiles {
		for _, kind := range m.Kinds {
			cell := m.cell(ctx, p, kind, programs, filepath.Join(dir, p.Name+"-"+string(kind)))
			if _, err := io.WriteString(out, cell.row()); err != nil {
				return fmt.Errorf("write table: %w", err)
			}
			bad += len(cell.Results) - cell.good()
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	fmt.Fprintf(out, "\nTook %s.\n", time.Since(begun).Round(time.Second))
	if bad > 0 {
		return fmt.Errorf("%d attempts failed", bad)
	}
	return nil
}

// commit names what is tried: the tree must be clean for it to be the truth.
func (m Matrix) commit(ctx context.Context) string {
	git := func(args ...string) string {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", m.Root}, args...)...).Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	id := git("rev-parse", "--short=12", "HEAD")
	if git("status", "--porcelain", "-uno") != "" {
		id += " with changes"
	}
	return id
}

// cell makes a network for one client and lets it try.
func (m Matrix) cell(ctx context.Context, p netlab.Profile, kind Kind, programs Programs, dir string) Cell {
	c := Cell{Profile: p, Kind: kind}
	n := m.Attempts[kind]
	fail := func(err error) {
		for len(c.Results) < n {
			c.Results = append(c.Results, Result{Err: err})
		}
	}
	var site *Site
	for i := range n {
		// A network whose state the event has changed is made anew.
		if site == nil || p.Event == netlab.HandoverEvent {
			if site != nil {
				m.close(site)
			}
			var err error
			where := filepath.Join(dir, fmt.Sprint(i))
			if err = os.MkdirAll(where, 0o700); err == nil {
				site, err = Open(ctx, p, programs, where)
			}
			if err != nil {
				site = nil
				fail(err)
				break
			}
		}
		r := site.Try(ctx, kind)
		c.Results = append(c.Results, r)
		fmt.Fprintf(m.Progress, "%s %s %d: %s\n", p.Name, kind, i+1, c.describe(r))
	}
	if site != nil {
		m.close(site)
	}
	return c
}

func (m Matrix) close(s *Site) {
	if err := s.Close(); err != nil {
		fmt.Fprintf(m.Progress, "%s: %v\n", s.Lab.Profile.Name, err)
	}
}

// Good reports whether an attempt ended as it must in a network.
func (r Result) Good(p netlab.Profile) bool {
	switch {
	case r.Err != nil:
		return false
	case len(p.Paths) == 0:
		return !r.Connected && r.RightVerdict(p.Code)
	case p.Event != "":
		return r.Connected && r.Back
	}
	return r.Connected
}

func (c Cell) good() (n int) {
	for _, r := range c.Results {
		if r.Good(c.Profile) {
			n++
		}
	}
	return n
}

func (c Cell) describe(r Result) string {
	verdict := "ok"
	if !r.Good(c.Profile) {
		verdict = "FAILED"
	}
	if r.Err != nil {
		return fmt.Sprintf("%s: %v", verdict, r.Err)
	}
	text := fmt.Sprintf("%s %s, patient after %v, doctor after %v", verdict, r.Path, r.PatientSees.Round(time.Millisecond), r.DoctorSees.Round(time.Millisecond))
	if c.Profile.Event != "" {
		text += fmt.Sprintf(", gap %v, back %v", r.Gap.Round(time.Millisecond), r.Back)
	}
	if len(c.Profile.Paths) == 0 || verdict != "ok" {
		text += fmt.Sprintf(", codes: patient %v after %v, doctor %v after %v, webhook %s after %v", r.PatientCodes, r.PatientAfter.Round(time.Millisecond),
			r.DoctorCodes, r.DoctorAfter.Round(time.Millisecond), r.WebhookCode, r.WebhookAfter.Round(time.Millisecond))
	}
	return text
}

const tableHead = `| network | client | good | path | patient sees and hears, median (max) | doctor sees and hears, median (max) | remarks |
|---|---|---|---|---|---|---|
`

// row is the cell as a line of the table.
func (c Cell) row() string {
	var patient, doctor, gaps, webhooks []time.Duration
	var paths, remarks []string
	for _, r := range c.Results {
		if r.Err != nil {
			remarks = addOnce(remarks, firstLine(r.Err.Error()))
			continue
		}
		if r.PatientSees > 0 {
			patient = append(patient, r.PatientSees)
		}
		if r.DoctorSees > 0 {
			doctor = append(doctor, r.DoctorSees)
		}
		if r.Path != "" && r.Connected {
			paths = addOnce(paths, r.Path)
		}
		if c.Profile.Event != "" && r.Connected {
			gaps = append(gaps, r.Gap)
		}
		if r.WebhookCode != "" {
			webhooks = append(webhooks, r.WebhookAfter)
			remarks = addOnce(remarks, fmt.Sprintf("patient %v, doctor %v, webhook %s", r.PatientCodes, r.DoctorCodes, r.WebhookCode))
		} else if !r.Connected {
			remarks = addOnce(remarks, fmt.Sprintf("patient %v, doctor %v", r.PatientCodes, r.DoctorCodes))
		}
	}
	if len(gaps) > 0 {
		remarks = append(remarks, "without media for "+spread(gaps))
	}
	if len(webhooks) > 0 {
		remarks = append(remarks, "webhook after "+spread(webhooks))
	}
	if len(c.Profile.Paths) == 0 {
		paths = append(paths, "none")
	}
	return fmt.Sprintf("| %s | %s | %d of %d | %s | %s | %s | %s |\n", c.Profile.Name, c.Kind, c.good(), len(c.Results),
		strings.Join(paths, ", "), spread(patient), spread(doctor), strings.Join(remarks, "; "))
}

func addOnce(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.ReplaceAll(line[:min(len(line), 200)], "|", "/")
}

// spread is the median and the greatest of some times.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "-"
	}
	slices.Sort(all)
	return fmt.Sprintf("%.1f s (%.1f s)", all[len(all)/2].Seconds(), all[len(all)-1].Seconds())
}
