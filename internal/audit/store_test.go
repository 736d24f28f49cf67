package audit

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"consilium/internal/database"
)

func openStore(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// raw is the file as somebody sees it who has the machine.
func raw(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := database.OpenWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestEntriesComeBackInPagesInTheirOrder(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), FileName))
	for i := range 5 {
		e := Entry{Action: Played, Actor: "doc", Recording: fmt.Sprint("rec", i%2), Data: map[string]any{"n": i}}
		if err := s.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		filter Filter
		want   []int64
	}{
		"all":              {Filter{Limit: 100}, []int64{1, 2, 3, 4, 5}},
		"a page":           {Filter{Limit: 2}, []int64{1, 2}},
		"the next":         {Filter{Limit: 2, After: 2}, []int64{3, 4}},
		"the end":          {Filter{Limit: 2, After: 5}, []int64{}},
		"of one recording": {Filter{Limit: 10, Recording: "rec1"}, []int64{2, 4}},
		"of it, the next":  {Filter{Limit: 10, Recording: "rec1", After: 2}, []int64{4}},
		"no limit is one":  {Filter{}, []int64{1}},
		"of none":          {Filter{Limit: 10, Recording: "x' OR 1=1 --"}, []int64{}},
	} {
		t.Run(name, func(t *testing.T) {
			entries, err := s.Entries(t.Context(), test.filter)
			if err != nil {
				t.Fatal(err)
			}
			got := []int64{}
			for _, e := range entries {
				got = append(got, e.Sequence)
				if e.Outcome != Done || e.Time.IsZero() || len(e.Hash) != 64 || e.Actor != "doc" || e.Data["n"] != float64(e.Sequence-1) {
					t.Errorf("entry %+v", e)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestTheLogSurvivesARestartInOneChain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", FileName)
	if _, err := OpenExisting(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a log that is not there: %v", err)
	}
	for range 3 {
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Append(t.Context(), Entry{Action: Held}, Entry{Action: Released}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	head, err := openStore(t, path).Verify(t.Context())
	if err != nil || head.Rows != 6 || len(head.Hash) != 64 {
		t.Errorf("%+v, %v", head, err)
	}
}

func TestSeveralProcessesWriteOneChain(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	var wg sync.WaitGroup
	for n := range 3 {
		s := openStore(t, path)
		wg.Go(func() {
			for range 10 {
				if err := s.Append(t.Context(), Entry{Action: Verified, Actor: fmt.Sprint(n)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if head, err := openStore(t, path).Verify(t.Context()); err != nil || head.Rows != 30 {
		t.Errorf("%+v, %v", head, err)
	}
}

func TestRowsCanOnlyBeAdded(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	s := openStore(t, path)
	if err := s.Append(t.Context(), Entry{Action: Played}, Entry{Action: Played}); err != nil {
		t.Fatal(err)
	}
	db := raw(t, path)
	for name, statement := range map[string]string{
		"update":            "UPDATE audit SET body = '{}' WHERE sequence = 1",
		"delete":            "DELETE FROM audit WHERE sequence = 2",
		"delete all":        "DELETE FROM audit",
		"replace":           "INSERT OR REPLACE INTO audit VALUES (1, '', '{}', '')",
		"replace the last":  "REPLACE INTO audit VALUES (2, '', '{}', '')",
		"put one in before": "INSERT INTO audit VALUES (0, '', '{}', '')",
		"leave a hole":      "INSERT INTO audit VALUES (9, '', '{}', '')",
	} {
		if _, err := db.Exec(statement); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if head, err := s.Verify(t.Context()); err != nil || head.Rows != 2 {
		t.Errorf("%+v, %v", head, err)
	}
}

func TestChangesBehindTheTriggersAreFound(t *testing.T) {
	for name, test := range map[string]struct{ statement, row string }{
		"another body":      {"UPDATE audit SET body = replace(body, 'doc-2', 'doc-9') WHERE sequence = 2", "row 2"},
		"another time":      {"UPDATE audit SET body = replace(body, '\"time\":\"20', '\"time\":\"19') WHERE sequence = 3", "row 3"},
		"another recording": {"UPDATE audit SET recording = 'else' WHERE sequence = 2", "row 2"},
		"another hash":      {"UPDATE audit SET hash = 'ff' WHERE sequence = 1", "row 1"},
		"a row taken out":   {"DELETE FROM audit WHERE sequence = 2", "row 2"},
		"the first":         {"DELETE FROM audit WHERE sequence = 1", "row 1"},
		"moved up":          {"DELETE FROM audit WHERE sequence = 2; UPDATE audit SET sequence = sequence - 1 WHERE sequence > 2", "row 2"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), FileName)
			s := openStore(t, path)
			for i := range 4 {
				if err := s.Append(t.Context(), Entry{Action: Played, Actor: fmt.Sprint("doc-", i+1), Recording: "rec"}); err != nil {
					t.Fatal(err)
				}
			}
			_, err := raw(t, path).Exec("DROP TRIGGER audit_update; DROP TRIGGER audit_delete; DROP TRIGGER audit_insert; " + test.statement)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Verify(t.Context()); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), test.row) {
				t.Errorf("verify says %v, want %s", err, test.row)
			}
		})
	}
}

func TestWhatCanNotBeEncodedDoesNotKeepARowOut(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), FileName))
	err := s.Append(t.Context(),
		Entry{Action: Played, Actor: "a", Data: map[string]any{"n": math.NaN()}},
		Entry{Action: Played, Actor: "b", Data: map[string]any{"n": strings.Repeat("x", maxBody)}})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := s.Entries(t.Context(), Filter{Limit: 10})
	if err != nil || len(entries) != 2 || entries[0].Actor != "a" || entries[1].Actor != "b" || entries[1].Data["left_out"] == nil {
		t.Errorf("%+v, %v", entries, err)
	}
	if _, err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}
