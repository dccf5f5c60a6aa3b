package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"math"
	"strings"
	"time"
)

const abortsOnOddValues = "dqlite aborts on this value (query.c: Assertion type == ...)"

func valueChecks() []check {
	return []check{
		{name: "integers", run: roundTrip(int64(0), int64(1), int64(-1), int64(math.MaxInt64), int64(math.MinInt64))},
		{name: "floats", run: roundTrip(0.5, -1e300, math.SmallestNonzeroFloat64, math.Inf(1))},
		{name: "texts", run: roundTrip("", "a", "1234567", "12345678", "Zürich 東京 🐟", strings.Repeat("long ", 20000))},
		{name: "blobs", run: roundTrip([]byte{0}, []byte("1234567"), []byte("12345678"), bytes.Repeat([]byte{0xff, 0xee, 0}, 400000))},
		{name: "null", run: null},
		{name: "booleans", run: booleans},
		{name: "null-booleans", run: nullBooleans, known: "dqlite reads NULL as false"},
		{name: "times", run: times},
		{name: "unix-times", run: unixTimes},
		{name: "null-times", run: nullTimes},
		{name: "text-in-a-boolean", run: odd("BOOLEAN", "'t'", "t"), unsafe: abortsOnOddValues},
		{name: "float-in-a-boolean", run: odd("BOOLEAN", "1.5", 1.5), unsafe: abortsOnOddValues},
		{name: "blob-in-a-boolean", run: odd("BOOLEAN", "x'01'", []byte{1}), unsafe: abortsOnOddValues},
		{name: "float-in-a-datetime", run: odd("DATETIME", "1.5", 1.5), unsafe: abortsOnOddValues},
		{name: "blob-in-a-timestamp", run: odd("TIMESTAMP", "x'02'", []byte{2}), unsafe: abortsOnOddValues},
		{name: "column-types", run: columnTypes},
		{name: "wide-rows", run: wideRows},
	}
}

// roundTrip writes values and reads them back, through a parameter.
func roundTrip(values ...interface{}) func(*suite) error {
	return func(s *suite) error {
		return s.with(func(db *sql.DB) error {
			for i, value := range values {
				if _, err := db.Exec("INSERT INTO t(id, v) VALUES(?, ?)", i, value); err != nil {
					return err
				}
				var got interface{}
				if err := db.QueryRow("SELECT v FROM t WHERE id = ?", i).Scan(&got); err != nil {
					return err
				}
				if b, ok := got.([]byte); ok {
					if want, ok := value.([]byte); !ok || !bytes.Equal(b, want) {
						return fmt.Errorf("value %d of %d bytes came back as %d bytes", i, len(want), len(b))
					}
				} else if err := expect(fmt.Sprintf("value %d", i), got, value); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func null(s *suite) error {
	return s.with(func(db *sql.DB) error {
		if _, err := db.Exec("INSERT INTO t(id, v) VALUES(1, ?)", nil); err != nil {
			return err
		}
		var got interface{} = "something"
		err := db.QueryRow("SELECT v FROM t").Scan(&got)
		return first(err, expect("value", got, nil))
	})
}

func booleans(s *suite) error {
	return s.with(func(db *sql.DB) error {
		if _, err := db.Exec("INSERT INTO t(id, v) VALUES(1, ?), (2, ?), (3, 7)", true, false); err != nil {
			return err
		}
		var got []bool
		rows, err := db.Query("SELECT v FROM t ORDER BY id")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var b interface{}
			if err := rows.Scan(&b); err != nil {
				return err
			}
			if _, ok := b.(bool); !ok {
				return fmt.Errorf("a %T, want a bool", b)
			}
			got = append(got, b.(bool))
		}
		return first(rows.Err(), expect("values", got, []bool{true, false, true}))
	}, "CREATE TABLE t(id INTEGER PRIMARY KEY, v BOOLEAN)")
}

func nullBooleans(s *suite) error {
	return s.with(func(db *sql.DB) error {
		if _, err := db.Exec("INSERT INTO t(id, v) VALUES(1, NULL)"); err != nil {
			return err
		}
		var b sql.NullBool
		err := db.QueryRow("SELECT v FROM t").Scan(&b)
		return first(err, expect("valid", b.Valid, false))
	}, "CREATE TABLE t(id INTEGER PRIMARY KEY, v BOOLEAN)")
}

func times(s *suite) error {
	return s.with(func(db *sql.DB) error {
		want := time.Date(2026, 2, 28, 23, 59, 58, 123456789, time.UTC)
		zoned := want.In(time.FixedZone("", 3*3600))
		if _, err := db.Exec("INSERT INTO t(id, v) VALUES(1, ?), (2, ?), (3, '2026-02-28')", want, zoned); err != nil {
			return err
		}
		for id, want := range map[int]time.Time{1: want, 2: want, 3: time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC)} {
			var got time.Time
			if err := db.QueryRow("SELECT v FROM t WHERE id = ?", id).Scan(&got); err != nil {
				return err
			}
			if !got.Equal(want) {
				return fmt.Errorf("time %d: got %s, want %s", id, got, want)
			}
		}
		return nil
	}, "CREATE TABLE t(id INTEGER PRIMARY KEY, v DATETIME)")
}

func unixTimes(s *suite) error {
	for _, declared := range []string{"DATETIME", "date", "TimeStamp"} {
		err := s.with(func(db *sql.DB) error {
			if _, err := db.Exec("INSERT INTO t(id, v) VALUES(1, 86400)"); err != nil {
				return err
			}
			var got time.Time
			err := db.QueryRow("SELECT v FROM t").Scan(&got)
			return first(err, expect("time", got.Unix(), int64(86400)))
		}, "CREATE TABLE t(id INTEGER PRIMARY KEY, v "+declared+")")
		if err != nil {
			return fmt.Errorf("%s: %w", declared, err)
		}
	}
	return nil
}

func nullTimes(s *suite) error {
	return s.with(func(db *sql.DB) error {
		if _, err := db.Exec("INSERT INTO t(id, v) VALUES(1, NULL)"); err != nil {
			return err
		}
		var got sql.NullTime
		err := db.QueryRow("SELECT v FROM t").Scan(&got)
		return first(err, expect("valid", got.Valid, false))
	}, "CREATE TABLE t(id INTEGER PRIMARY KEY, v DATETIME)")
}

// odd reads a value that its column's declared type does not foresee.
func odd(declared, literal string, want interface{}) func(*suite) error {
	return func(s *suite) error {
		return s.with(func(db *sql.DB) error {
			if _, err := db.Exec("INSERT INTO t(id, v) VALUES(1, " + literal + ")"); err != nil {
				return err
			}
			var got interface{}
			err := db.QueryRow("SELECT v FROM t").Scan(&got)
			return first(err, expect("value", got, want))
		}, "CREATE TABLE t(id INTEGER PRIMARY KEY, v "+declared+")")
	}
}

func columnTypes(s *suite) error {
	return s.with(func(db *sql.DB) error {
		if _, err := db.Exec("INSERT INTO t VALUES(1, 1.5, 'x', x'00', 1, 86400, NULL)"); err != nil {
			return err
		}
		rows, err := db.Query("SELECT * FROM t")
		if err != nil {
			return err
		}
		defer rows.Close()
		types, err := rows.ColumnTypes()
		if err != nil {
			return err
		}
		var names, kinds []string
		for _, t := range types {
			names, kinds = append(names, t.Name()), append(kinds, t.DatabaseTypeName())
		}
		return first(
			expect("names", names, []string{"i", "f", "t", "b", "o", "d", "n"}),
			expect("types", kinds, []string{"INTEGER", "FLOAT", "TEXT", "BLOB", "BOOL", "TIME", "NULL"}),
		)
	}, "CREATE TABLE t(i INTEGER, f REAL, t TEXT, b BLOB, o BOOLEAN, d DATETIME, n)")
}

func wideRows(s *suite) error {
	const columns = 200
	return s.with(func(db *sql.DB) error {
		values := make([]interface{}, columns)
		for i := range values {
			values[i] = int64(i)
			if i%3 == 0 {
				values[i] = fmt.Sprint("text ", i)
			}
		}
		if _, err := db.Exec("INSERT INTO t VALUES(?"+strings.Repeat(",?", columns-1)+")", values...); err != nil {
			return err
		}
		got := make([]interface{}, columns)
		into := make([]interface{}, columns)
		for i := range got {
			into[i] = &got[i]
		}
		err := db.QueryRow("SELECT * FROM t").Scan(into...)
		return first(err, expect("row", got, values))
	}, "CREATE TABLE t(c0"+func() (list string) {
		for i := 1; i < columns; i++ {
			list += fmt.Sprint(", c", i)
		}
		return list
	}()+")")
}
