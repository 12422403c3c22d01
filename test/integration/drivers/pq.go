// lib/pq through the proxy: `pq CA_FILE`, the rest from the environment (PGHOST ...).
// Prints a line for each thing that was done; the exit status is 1 after the first that was not.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq"
)

var (
	ca    = os.Args[1]
	large = strings.Repeat("l", 3000000)
)

func try(err error) {
	if err != nil {
		panic(err)
	}
}

func check(found, expected interface{}) {
	if found != expected {
		panic(fmt.Sprintf("found %.80v and not %.80v", found, expected))
	}
}

func refused(err error, code pq.ErrorCode) {
	var refusal *pq.Error
	if !errors.As(err, &refusal) {
		panic(fmt.Sprintf("this should have been refused with %s: %v", code, err))
	}
	check(refusal.Code, code)
}

func open(more string) *sql.DB {
	db, err := sql.Open("postgres", more)
	try(err)
	return db
}

func statements(db *sql.DB) {
	add, err := db.Prepare("SELECT $1::int + $2::int")
	try(err)
	var wait sync.WaitGroup
	found := make([]error, 8)
	for g := range found {
		wait.Add(1)
		go func(g int) {
			defer wait.Done()
			for i := 0; i < 25 && found[g] == nil; i++ {
				var sum int
				found[g] = add.QueryRow(i, g*1000).Scan(&sum)
				if found[g] == nil && sum != i+g*1000 {
					found[g] = fmt.Errorf("%d + %d is not %d", i, g*1000, sum)
				}
			}
		}(g)
	}
	wait.Wait()
	for _, err := range found {
		try(err)
	}
	try(add.Close())
}

func transaction(db *sql.DB) {
	tx, err := db.Begin()
	try(err)
	_, err = tx.Exec("INSERT INTO driver VALUES ($1, $2)", 1, "kept")
	try(err)
	_, err = tx.Exec("SAVEPOINT here")
	try(err)
	_, err = tx.Exec("SELECT 1 / $1::int", 0)
	refused(err, "22012")
	_, err = tx.Exec("ROLLBACK TO here")
	try(err)
	var n int
	try(tx.QueryRow("SELECT count(*) FROM driver").Scan(&n))
	check(n, 1)
	_, err = tx.Exec("SET LOCAL work_mem = '7MB'")
	try(err)
	var memory string
	try(tx.QueryRow("SHOW work_mem").Scan(&memory))
	check(memory, "7MB")
	try(tx.Rollback())
	try(db.QueryRow("SHOW work_mem").Scan(&memory))
	check(memory, "4MB")
}

func copies(db *sql.DB) {
	tx, err := db.Begin()
	try(err)
	in, err := tx.Prepare(pq.CopyIn("driver", "id", "v"))
	try(err)
	for i := 0; i < 3000; i++ {
		_, err = in.Exec(i, fmt.Sprintf("value %d", i))
		try(err)
	}
	_, err = in.Exec()
	try(err)
	try(in.Close())
	var n, sum int
	try(tx.QueryRow("SELECT count(*), sum(id) FROM driver").Scan(&n, &sum))
	check(n, 3000)
	check(sum, 3000*2999/2)
	try(tx.Rollback())
}

func cancels(db *sql.DB) {
	soon, stop := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer stop()
	_, err := db.ExecContext(soon, "SELECT pg_sleep(30)")
	refused(err, "57014")
	var three int
	try(db.QueryRow("SELECT 3").Scan(&three))
	check(three, 3)
}

func largeOverTLS(*sql.DB) {
	db := open("sslmode=verify-full host=localhost sslrootcert=" + ca)
	defer db.Close()
	var back string
	try(db.QueryRow("SELECT $1::text", large).Scan(&back))
	check(back, large)
}

func settings(db *sql.DB) {
	one, err := db.Conn(context.Background())
	try(err)
	two, err := db.Conn(context.Background())
	try(err)
	for i, conn := range []*sql.Conn{one, two} {
		_, err = conn.ExecContext(context.Background(), fmt.Sprintf("SET work_mem = '%dMB'", 7+i))
		try(err)
	}
	for round := 0; round < 3; round++ {
		for i, conn := range []*sql.Conn{one, two} {
			var memory string
			try(conn.QueryRowContext(context.Background(), "SHOW work_mem").Scan(&memory))
			check(memory, fmt.Sprintf("%dMB", 7+i))
		}
	}
	for _, conn := range []*sql.Conn{one, two} {
		_, err = conn.ExecContext(context.Background(), "RESET work_mem")
		try(err)
		try(conn.Close())
	}
}

func listens(*sql.DB) {
	listener := pq.NewListener("", time.Second, time.Minute, nil)
	defer listener.Close()
	try(listener.Listen("news"))
	db := open("")
	defer db.Close()
	_, err := db.Exec("NOTIFY news, 'it works'")
	try(err)
	select {
	case heard := <-listener.Notify:
		check(heard.Extra, "it works")
	case <-time.After(20 * time.Second):
		panic("nothing was heard")
	}
}

func run(name string, work func(*sql.DB), db *sql.DB) {
	defer func() {
		if what := recover(); what != nil {
			fmt.Printf("not ok %s: %v\n", name, what)
			os.Exit(1)
		}
	}()
	work(db)
	fmt.Println("ok", name)
}

func main() {
	db := open("")
	db.SetMaxOpenConns(5)
	run("a statement prepared on every connection of a pool", statements, db)
	run("a transaction with a savepoint and a setting", transaction, db)
	run("COPY", copies, db)
	run("a cancel", cancels, db)
	run("a large value in each direction, over TLS", largeOverTLS, db)
	run("settings of a session, of two that alternate", settings, db)
	run("a message to who listens", listens, db)
	try(db.Close())
}
