package trial

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"consilium/internal/netlab"
)

const tableHead = `| network | client | good | path | first frame at the patient, median (max) | first frame at the doctor, median (max) | both see and hear, median (max) | remarks |
|---|---|---|---|---|---|---|---|
`

// writeTable writes all cells in the order of the networks. The error is set if
// attempts failed.
func writeTable(out io.Writer, known *record) error {
	var text strings.Builder
	fmt.Fprintf(&text, "Commit %s, %s.\n\n%s", known.commit, time.Now().UTC().Format(time.DateOnly), tableHead)
	good, all := 0, 0
	var took time.Duration
	for _, p := range netlab.Profiles() {
		for _, c := range known.cells {
			if c.Network != p.Name {
				continue
			}
			text.WriteString(c.row())
			good, all, took = good+c.good(), all+len(c.Results), took+c.Took
		}
	}
	fmt.Fprintf(&text, "\n%d of %d attempts good. Took %s.\n", good, all, took.Round(time.Second))
	if _, err := io.WriteString(out, text.String()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	if good < all {
		return fmt.Errorf("%d attempts failed", all-good)
	}
	return nil
}

func (c Cell) good() (n int) {
	for _, r := range c.Results {
		if r.Good(c.profile, c.Client) {
			n++
		}
	}
	return n
}

// describe is a line about one attempt, for those who wait.
func (c Cell) describe(r Result) string {
	verdict := "ok"
	if !r.Good(c.profile, c.Client) {
		verdict = "FAILED"
	}
	if r.Broken != "" {
		return verdict + ": " + r.Broken
	}
	text := fmt.Sprintf("%s %s, first frame at the patient after %v, at the doctor after %v, all after %v",
		verdict, r.Path, short(r.PatientFrame), short(r.DoctorFrame), short(r.Both))
	if c.profile.Event != "" {
		text += fmt.Sprintf(", gap %v, back %v", short(r.Gap), r.Back)
	}
	if c.profile.Event == netlab.IdleEvent {
		text += fmt.Sprintf(", mapping held %v", r.Held)
	}
	if len(c.profile.Paths) == 0 || verdict != "ok" {
		text += fmt.Sprintf(", codes: patient %v after %v, doctor %v after %v, webhook %s after %v",
			r.PatientCodes, short(r.PatientAfter), r.DoctorCodes, short(r.DoctorAfter), r.WebhookCode, short(r.WebhookAfter))
	}
	return text
}

func short(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// row is the cell as a line of the table.
func (c Cell) row() string {
	var patient, doctor, both, gaps, verdicts []time.Duration
	var paths []string
	count, held := map[string]int{}, 0
	for _, r := range c.Results {
		patient, doctor, both = addTime(patient, r.PatientFrame), addTime(doctor, r.DoctorFrame), addTime(both, r.Both)
		verdicts = addTime(verdicts, max(r.PatientAfter, r.DoctorAfter, r.WebhookAfter))
		if r.Connected {
			count[r.Path]++
			paths = addOnce(paths, r.Path)
		}
		if c.profile.Event != "" && r.Connected && r.Broken == "" {
			gaps = append(gaps, r.Gap)
		}
		if r.Held {
			held++
		}
	}
	remarks := c.remarks()
	if len(gaps) > 0 {
		remarks = append(remarks, "without media for "+spread(gaps))
	}
	if c.profile.Event == netlab.IdleEvent {
		remarks = append(remarks, fmt.Sprintf("mapping held %d of %d", held, len(c.Results)))
	}
	if len(c.profile.Paths) == 0 {
		paths = append(paths, "none")
		remarks = append(remarks, "last of them after "+spread(verdicts))
	}
	for i, p := range paths {
		if len(paths) > 1 {
			paths[i] = fmt.Sprintf("%s %d", p, count[p])
		}
	}
	return fmt.Sprintf("| %s | %s | %d of %d | %s | %s | %s | %s | %s |\n", c.Network, c.Client, c.good(), len(c.Results),
		strings.Join(paths, ", "), spread(patient), spread(doctor), spread(both), strings.Join(remarks, "; "))
}

// remarks are what was said, and what went wrong.
func (c Cell) remarks() (remarks []string) {
	for _, r := range c.Results {
		switch {
		case r.Broken != "":
			remarks = addOnce(remarks, firstLine(r.Broken))
		case r.WebhookCode != "":
			remarks = addOnce(remarks, fmt.Sprintf("patient %v, doctor %v, webhook %s", r.PatientCodes, r.DoctorCodes, r.WebhookCode))
		case !r.Connected:
			remarks = addOnce(remarks, fmt.Sprintf("patient %v, doctor %v", r.PatientCodes, r.DoctorCodes))
		}
	}
	return remarks
}

// addTime leaves out what never was.
func addTime(list []time.Duration, d time.Duration) []time.Duration {
	if d == 0 {
		return list
	}
	return append(list, d)
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
