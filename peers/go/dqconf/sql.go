package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

func sqlChecks() []check {
	return []check{
		{name: "insert-ids-and-counts", run: idsAndCounts},
		{name: "prepared-statements", run: preparedStatements},
		{name: "255-parameters", run: parameters255},
		{name: "transaction-commits", run: transactionCommits},
		{name: "transaction-rolls-back", run: transactionRollsBack},
		{name: "uncommitted-rows-are-not-seen", run: uncommittedNotSeen},
		{name: "a-reader-keeps-its-snapshot", run: readerSnapshot},
		{name: "a-stale-reader-cannot-write", run: staleReader},
		{name: "savepoints", run: savepoints},
		{name: "constraint-codes", run: constraintCodes, known: "1.11 does not turn foreign keys on"},
		{name: "syntax-errors", run: syntaxErrors},
		{name: "100000-rows", run: rows100000},
		{name: "rows-closed-early", run: rowsClosedEarly},
		{name: "a-deadline-ends-a-query", run: deadlineEnds},
		{name: "returning", run: returning, unsafe: "dqlite 1.11 keeps nothing of it, and aborts on a later statement"},
		{name: "settings-of-the-server-are-refused", run: settingsRefused, unsafe: "dqlite 1.11 aborts on PRAGMA journal_mode"},
		{name: "foreign-files-are-refused", run: filesRefused, unsafe: "dqlite 1.11 attaches"},
		{name: "concurrent-writers", run: concurrentWriters},
		{name: "concurrent-connections", run: concurrentConnections},
		{name: "databases-are-apart", run: databasesApart},
		{name: "triggers-views-and-json", run: features},
	}
}

func idsAndCounts(s *suite) error {
	return s.with(func(db *sql.DB) error {
		for want := int64(1); want <= 3; want++ {
			result, err := db.Exec("INSERT INTO t(v) VALUES(?)", want)
			if err != nil {
				return err
			}
			id, _ := result.LastInsertId()
			n, _ := result.RowsAffected()
			if err := first(expect("id", id, want), expect("rows", n, int64(1))); err != nil {
				return err
			}
		}
		result, err := db.Exec("INSERT INTO t(id, v) VALUES(-5, 0)")
		if err != nil {
			return err
		}
		id, _ := result.LastInsertId()
		if err := expect("negative id", id, int64(-5)); err != nil {
			return err
		}
		result, err = db.Exec("UPDATE t SET v = v + 1")
		if err != nil {
			return err
		}
		n, _ := result.RowsAffected()
		return expect("updated", n, int64(4))
	})
}

func preparedStatements(s *suite) error {
	return s.with(func(db *sql.DB) error {
		insert, err := db.Prepare("INSERT INTO t(id, v) VALUES(?, ?)")
		if err != nil {
			return err
		}
		defer insert.Close()
		read, err := db.Prepare("SELECT v FROM t WHERE id = ?")
		if err != nil {
			return err
		}
		defer read.Close()
		for i := 0; i < 200; i++ {
			if _, err := insert.Exec(i, fmt.Sprint(i)); err != nil {
				return err
			}
			var v string
			if err := read.QueryRow(i).Scan(&v); err != nil {
				return err
			}
			if err := expect("row", v, fmt.Sprint(i)); err != nil {
				return err
			}
		}
		if _, err := insert.Exec(1); err == nil {
			return errors.New("one parameter for two placeholders was taken")
		}
		return nil
	})
}

func parameters255(s *suite) error {
	return s.with(func(db *sql.DB) error {
		values := []interface{}{}
		for i := 0; i < 255; i++ {
			values = append(values, i)
		}
		var sum int
		err := db.QueryRow("SELECT ?"+strings.Repeat("+?", 254), values...).Scan(&sum)
		return first(err, expect("sum", sum, 255*254/2))
	})
}

func count(db interface {
	QueryRow(string, ...interface{}) *sql.Row
}) (n int, err error) {
	err = db.QueryRow("SELECT count(*) FROM t").Scan(&n)
	return n, err
}

func expectCount(db *sql.DB, want int) error {
	n, err := count(db)
	return first(err, expect("rows", n, want))
}

func transactionCommits(s *suite) error {
	return s.with(func(db *sql.DB) error {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		for i := 0; i < 100; i++ {
			if _, err := tx.Exec("INSERT INTO t(v) VALUES(?)", i); err != nil {
				return err
			}
		}
		return first(tx.Commit(), expectCount(db, 100))
	})
}

func transactionRollsBack(s *suite) error {
	return s.with(func(db *sql.DB) error {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO t(v) VALUES(1)"); err != nil {
			return err
		}
		if n, err := count(tx); err != nil || n != 1 {
			return fmt.Errorf("inside: %d rows, %v", n, err)
		}
		return first(tx.Rollback(), expectCount(db, 0))
	})
}

func uncommittedNotSeen(s *suite) error {
	return s.with(func(db *sql.DB) error {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.Exec("INSERT INTO t(v) VALUES(1)"); err != nil {
			return err
		}
		if err := expectCount(db, 0); err != nil {
			return err
		}
		return first(tx.Commit(), expectCount(db, 1))
	})
}

func readerSnapshot(s *suite) error {
	return s.with(func(db *sql.DB) error {
		reader, err := db.Begin()
		if err != nil {
			return err
		}
		defer reader.Rollback()
		if n, err := count(reader); err != nil || n != 0 {
			return fmt.Errorf("%d rows, %v", n, err)
		}
		if _, err := db.Exec("INSERT INTO t(v) VALUES(1)"); err != nil {
			return fmt.Errorf("a reader blocks a writer: %w", err)
		}
		n, err := count(reader)
		return first(err, expect("rows in the old snapshot", n, 0), expectCount(db, 1))
	})
}

func staleReader(s *suite) error {
	return s.with(func(db *sql.DB) error {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := count(tx); err != nil {
			return err
		}
		if _, err := db.Exec("INSERT INTO t(v) VALUES(1)"); err != nil {
			return err
		}
		_, err = tx.Exec("INSERT INTO t(v) VALUES(2)")
		return first(expectCode(err, 517, 5), tx.Rollback(), expectCount(db, 1))
	})
}

func savepoints(s *suite) error {
	return s.with(func(db *sql.DB) error {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		for _, statement := range []string{
			"INSERT INTO t(v) VALUES(1)", "SAVEPOINT a", "INSERT INTO t(v) VALUES(2)", "ROLLBACK TO a", "RELEASE a",
			"SAVEPOINT b", "INSERT INTO t(v) VALUES(3)", "RELEASE b",
		} {
			if _, err := tx.Exec(statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		return first(tx.Commit(), expectCount(db, 2))
	})
}

func constraintCodes(s *suite) error {
	return s.with(func(db *sql.DB) error {
		if _, err := db.Exec("INSERT INTO t VALUES(1, 1, 1, NULL)"); err != nil {
			return err
		}
		for statement, want := range map[string]int{
			"INSERT INTO t VALUES(1, 2, 1, NULL)":    1555,
			"INSERT INTO t VALUES(2, 1, 1, NULL)":    2067,
			"INSERT INTO t VALUES(3, 3, NULL, NULL)": 1299,
			"INSERT INTO t VALUES(4, 4, -1, NULL)":   275,
			"INSERT INTO t VALUES(5, 5, 1, 99)":      787,
		} {
			_, err := db.Exec(statement)
			if err := expectCode(err, want, want&0xff); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		return expectCount(db, 1)
	}, "CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, c NOT NULL CHECK(c > 0), r REFERENCES t(id))")
}

func syntaxErrors(s *suite) error {
	return s.with(func(db *sql.DB) error {
		for _, statement := range []string{"SELEC 1", "SELECT * FROM nowhere", "INSERT INTO t(nothing) VALUES(1)"} {
			_, err := db.Exec(statement)
			if err := expectCode(err, 1); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
			if _, err := db.Query(statement); err == nil {
				return fmt.Errorf("%s: taken as a query", statement)
			}
		}
		return nil
	})
}

func rows100000(s *suite) error {
	return s.with(func(db *sql.DB) error {
		if _, err := db.Exec("INSERT INTO t(id, v) " + strings.Replace(series(100000), "SELECT n FROM", "SELECT n, 'row ' || n FROM", 1)); err != nil {
			return err
		}
		rows, err := db.Query("SELECT id, v FROM t ORDER BY id")
		if err != nil {
			return err
		}
		defer rows.Close()
		n := 0
		for rows.Next() {
			n++
			var id int
			var v string
			if err := rows.Scan(&id, &v); err != nil {
				return err
			}
			if id != n || v != fmt.Sprint("row ", n) {
				return fmt.Errorf("row %d is %d, %q", n, id, v)
			}
		}
		return first(rows.Err(), expect("rows", n, 100000))
	})
}

func rowsClosedEarly(s *suite) error {
	return s.with(func(db *sql.DB) error {
		db.SetMaxOpenConns(1)
		for i := 0; i < 5; i++ {
			rows, err := db.Query(series(200000))
			if err != nil {
				return err
			}
			for j := 0; j < 10; j++ {
				if !rows.Next() {
					return fmt.Errorf("row %d is missing: %v", j, rows.Err())
				}
			}
			if err := rows.Close(); err != nil {
				return err
			}
			if _, err := db.Exec("INSERT INTO t(v) VALUES(?)", i); err != nil {
				return err
			}
		}
		return expectCount(db, 5)
	})
}

func deadlineEnds(s *suite) error {
	return s.with(func(db *sql.DB) error {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		begin := time.Now()
		var n int
		err := db.QueryRowContext(ctx, "SELECT count(*) FROM ("+series(5000000)+")").Scan(&n)
		if err == nil {
			return skipped("the machine counts to 5,000,000 in 200 ms")
		}
		if d := time.Since(begin); d > 3*time.Second {
			return fmt.Errorf("it took %s", d)
		}
		_, err = db.Exec("INSERT INTO t(v) VALUES(1)")
		return err
	})
}

func returning(s *suite) error {
	return s.with(func(db *sql.DB) error {
		var id, v int
		if err := db.QueryRow("INSERT INTO t(v) VALUES(42) RETURNING id, v").Scan(&id, &v); err != nil {
			return err
		}
		rows, err := db.Query("INSERT INTO t(v) " + series(1000) + " RETURNING id")
		if err != nil {
			return err
		}
		n := 0
		for rows.Next() {
			n++
		}
		return first(rows.Err(), rows.Close(), expect("returned", n, 1000), expect("v", v, 42), expectCount(db, 1001))
	})
}

func settingsRefused(s *suite) error {
	return s.with(func(db *sql.DB) error {
		for _, pragma := range []string{
			"journal_mode=DELETE", "synchronous=FULL", "page_size=512", "locking_mode=EXCLUSIVE", "wal_autocheckpoint=1",
			"wal_checkpoint", "read_uncommitted=1", "busy_timeout=1",
		} {
			_, err := db.Exec("PRAGMA " + pragma)
			if err == nil {
				var ignored interface{}
				err = db.QueryRow("PRAGMA " + pragma).Scan(&ignored)
			}
			if err := expectCode(err, 23); err != nil {
				return fmt.Errorf("PRAGMA %s: %w", pragma, err)
			}
		}
		_, err := db.Exec("INSERT INTO t(v) VALUES(1)")
		return err
	})
}

func filesRefused(s *suite) error {
	return s.with(func(db *sql.DB) error {
		for _, statement := range []string{"ATTACH '/tmp/stolen.db' AS x", "SELECT load_extension('x')", "VACUUM INTO '/tmp/stolen.db'"} {
			rows, err := db.Query(statement)
			if err == nil {
				for rows.Next() {
				}
				err = rows.Err()
				rows.Close()
			}
			if err == nil {
				return fmt.Errorf("%s: taken", statement)
			}
		}
		_, err := db.Exec("INSERT INTO t(v) VALUES(1)")
		return err
	})
}

// concurrentWriters adds up on many connections; BUSY may be tried again, anything else is wrong.
func concurrentWriters(s *suite) error {
	return s.with(func(db *sql.DB) error {
		if _, err := db.Exec("INSERT INTO t(id, v) VALUES(1, 0)"); err != nil {
			return err
		}
		const workers, each = 16, 25
		errs := make(chan error, workers)
		var wg sync.WaitGroup
		for w := 0; w < workers; w++ {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := 0; i < each; {
					_, err := db.Exec("UPDATE t SET v = v + 1 WHERE id = 1")
					switch {
					case err == nil:
						i++
					case code(err)&0xff == 5:
						time.Sleep(time.Millisecond)
					default:
						errs <- err
						return
					}
				}
			}()
		}
		wg.Wait()
		select {
		case err := <-errs:
			return err
		default:
		}
		var v int
		err := db.QueryRow("SELECT v FROM t").Scan(&v)
		return first(err, expect("sum", v, workers*each))
	})
}

func concurrentConnections(s *suite) error {
	return s.with(func(db *sql.DB) error {
		db.SetMaxIdleConns(64)
		errs := make(chan error, 64)
		for w := 0; w < 64; w++ {
			go func(w int) {
				for i := 0; i < 20; i++ {
					var got int
					if err := db.QueryRow("SELECT ?", w*100+i).Scan(&got); err != nil || got != w*100+i {
						errs <- fmt.Errorf("asked %d, got %d, %v", w*100+i, got, err)
						return
					}
				}
				errs <- nil
			}(w)
		}
		for w := 0; w < 64; w++ {
			if err := <-errs; err != nil {
				return err
			}
		}
		return nil
	})
}

func databasesApart(s *suite) error {
	return s.with(func(db *sql.DB) error {
		other, err := s.openNamed(s.name + "-other")
		if err != nil {
			return err
		}
		defer other.Close()
		if _, err := other.Exec("DROP TABLE IF EXISTS t"); err != nil {
			return err
		}
		if _, err := other.Exec("CREATE TABLE t(a, b, c)"); err != nil {
			return err
		}
		if _, err := db.Exec("INSERT INTO t(v) VALUES(1)"); err != nil {
			return err
		}
		return first(expectCount(db, 1), expectCount(other, 0))
	})
}

func features(s *suite) error {
	return s.with(func(db *sql.DB) error {
		for _, statement := range []string{
			"DROP TABLE IF EXISTS log", "CREATE TABLE log(what)", "DROP VIEW IF EXISTS w",
			"CREATE VIEW w AS SELECT id, json_extract(v, '$.a') AS a FROM t",
			"CREATE TRIGGER added AFTER INSERT ON t BEGIN INSERT INTO log VALUES(new.v); END",
			`INSERT INTO t(v) VALUES('{"a": 7}')`,
		} {
			if _, err := db.Exec(statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		var a, logged int
		err := db.QueryRow("SELECT a, (SELECT count(*) FROM log) FROM w").Scan(&a, &logged)
		return first(err, expect("a", a, 7), expect("logged", logged, 1))
	})
}
