#!/usr/bin/perl
# DBD::Pg through the proxy: `dbi.pl CA_FILE`, the rest from the environment (PGHOST ...).
# Prints a line for each thing that was done; the exit status is 1 after the first that was not.

use strict;
use warnings;
use DBI;
use DBD::Pg qw(:async);

my ($ca) = @ARGV;
my $large = 'l' x 3_000_000;

sub connected {
    my ($more, %options) = @_;
    return DBI->connect("dbi:Pg:$more", '', '',
        {RaiseError => 1, PrintError => 0, AutoCommit => 1, %options});
}

sub check {
    my ($found, $expected) = @_;
    $found = defined $found ? $found : 'nothing';
    die "found '" . substr($found, 0, 80) . "' and not '" . substr($expected, 0, 80) . "'\n"
        unless $found eq $expected;
}

sub refused {
    my ($state, $work) = @_;
    eval { $work->(); 1 } and die "this should have been refused with $state\n";
    check($DBI::state, $state);
}

my @checks = (
    'statements that the server prepares' => sub {
        my @all = map { connected('') } 1 .. 3;
        for my $round (1 .. 12) {
            for my $dbh (@all) {
                my $sth = $dbh->{private_add} ||=
                    $dbh->prepare('SELECT ?::int + ?::int', {pg_server_prepare => 1,
                                                             pg_switch_prepared => 1});
                $sth->execute($round, 100);
                check($sth->fetchrow_array, $round + 100);
            }
        }
        delete $_->{private_add} for @all;
        $_->disconnect for @all;
    },
    'a transaction with a savepoint' => sub {
        my $dbh = connected('', AutoCommit => 0);
        $dbh->do('INSERT INTO driver VALUES (?, ?)', undef, 1, 'kept');
        $dbh->pg_savepoint('here');
        refused('22012', sub { $dbh->do('SELECT 1 / ?::int', undef, 0) });
        $dbh->pg_rollback_to('here');
        check($dbh->selectrow_array('SELECT count(*) FROM driver'), 1);
        $dbh->rollback;
        check($dbh->selectrow_array('SELECT count(*) FROM driver'), 0);
        $dbh->rollback;
        $dbh->disconnect;
    },
    'COPY in both directions' => sub {
        my $dbh = connected('', AutoCommit => 0);
        $dbh->do('COPY driver FROM STDIN');
        $dbh->pg_putcopydata("$_\tvalue $_\n") for 1 .. 3000;
        $dbh->pg_putcopyend;
        $dbh->do('COPY (SELECT * FROM driver ORDER BY id) TO STDOUT');
        my ($rows, $line) = (0, '');
        while ($dbh->pg_getcopydata($line) >= 0) {
            check($line, sprintf("%d\tvalue %d\n", $rows + 1, $rows + 1)) if $rows < 3;
            $rows++;
        }
        check($rows, 3000);
        $dbh->rollback;
        $dbh->disconnect;
    },
    'a cancel' => sub {
        my $dbh = connected('');
        $dbh->do('SELECT pg_sleep(30)', {pg_async => PG_ASYNC});
        check($dbh->pg_cancel ? 'canceled' : 'not', 'canceled');
        check($dbh->selectrow_array('SELECT 3'), 3);
        $dbh->disconnect;
    },
    'a large value in each direction, over TLS' => sub {
        my $dbh = connected("sslmode=verify-full;host=localhost;sslrootcert=$ca");
        check($dbh->selectrow_array('SELECT ?::text', undef, $large), $large);
        $dbh->disconnect;
    },
    'many rows by one call' => sub {
        my $dbh = connected('', AutoCommit => 0);
        my $sth = $dbh->prepare('INSERT INTO driver VALUES (?, ?)');
        $sth->execute_array({}, [1 .. 50], [map { "v$_" } 1 .. 50]);
        check($dbh->selectrow_array('SELECT sum(id) FROM driver'), 1275);
        $dbh->rollback;
        $dbh->disconnect;
    },
    'settings of a transaction' => sub {
        my $dbh = connected('', AutoCommit => 0);
        $dbh->do("SET LOCAL work_mem = '7MB'");
        check($dbh->selectrow_array('SHOW work_mem'), '7MB');
        $dbh->rollback;
        check($dbh->selectrow_array('SHOW work_mem'), '4MB');
        $dbh->rollback;
        $dbh->disconnect;
    },
    'settings of a session, of two that alternate' => sub {
        my @all = (connected(''), connected(''));
        $_->do('SET work_mem = ' . ($_ == $all[0] ? "'7MB'" : "'8MB'")) for @all;
        for my $round (1 .. 3) {
            check($all[0]->selectrow_array('SHOW work_mem'), '7MB');
            check($all[1]->selectrow_array('SHOW work_mem'), '8MB');
        }
        $_->disconnect for @all;
    },
    'a message to who listens' => sub {
        my ($hears, $tells) = (connected(''), connected(''));
        $hears->do('LISTEN news');
        $tells->do("NOTIFY news, 'it works'");
        my $heard;
        for (1 .. 100) {
            $hears->do('SELECT 1');
            last if $heard = $hears->pg_notifies;
            select undef, undef, undef, 0.05;
        }
        check($heard ? $heard->[2] : undef, 'it works');
        $_->disconnect for $hears, $tells;
    },
);

while (my ($name, $check) = splice @checks, 0, 2) {
    if (!eval { $check->(); 1 }) {
        print "not ok $name: $@";
        exit 1;
    }
    print "ok $name\n";
}
