#!/usr/bin/perl
# A client that logs in by SCRAM-SHA-256 with a channel binding that it takes
# from its TLS library, which Python's does not give out: tls-exporter
# (RFC 9266) and tls-server-end-point (RFC 5929).
#
#	bind.pl PORT 1.2|1.3 EMS|no MECHANISM TYPE DIGEST GOOD|bad
#
# The user's name and password come on stdin, a line each.  Prints the line of
# EHLO that offers mechanisms, and the last reply.
use strict;
use warnings;
use Digest::SHA qw(hmac_sha256 sha256);
use IO::Socket::INET;
use MIME::Base64 qw(decode_base64 encode_base64);
use Net::SSLeay;

use constant NO_EMS => 1;    # SSL_OP_NO_EXTENDED_MASTER_SECRET

my ($port, $version, $ems, $mechanism, $type, $digest, $good) = @ARGV;
chomp(my ($user, $password) = <STDIN>);

sub b64 { return encode_base64($_[0], '') }

sub connect_tls {
	my $number = { '1.2' => 0x0303, '1.3' => 0x0304 }->{$version};
	my $socket = IO::Socket::INET->new("127.0.0.1:$port") or die "connect";
	my $context = Net::SSLeay::CTX_new();
	Net::SSLeay::CTX_set_min_proto_version($context, $number);
	Net::SSLeay::CTX_set_max_proto_version($context, $number);
	Net::SSLeay::CTX_set_options($context, NO_EMS) if $ems ne 'EMS';
	my $ssl = Net::SSLeay::new($context);
	Net::SSLeay::set_fd($ssl, fileno($socket));
	Net::SSLeay::connect($ssl) == 1 or die 'no TLS';
	return ($ssl, $socket);
}

my ($ssl, $socket) = connect_tls();

sub line {
	my $text = '';
	while ($text !~ /\n\z/) {
		my $byte = Net::SSLeay::read($ssl, 1);
		die 'no answer' unless defined $byte && length $byte;
		$text .= $byte;
	}
	return $text =~ s/\r\n\z//r;
}

# All lines of one reply.
sub reply {
	my @lines;
	do { push @lines, line() } while $lines[-1] =~ /^\d{3}-/;
	return @lines;
}

sub say_line {
	Net::SSLeay::write($ssl, "$_[0]\r\n");
	return reply();
}

sub binding {
	return Net::SSLeay::export_keying_material($ssl, 32,
	    'EXPORTER-Channel-Binding', '') if $type eq 'tls-exporter';
	return Net::SSLeay::X509_digest(Net::SSLeay::get_peer_certificate($ssl),
	    Net::SSLeay::EVP_get_digestbyname($digest))
	    if $type eq 'tls-server-end-point';
	die "what is $type?";
}

# PBKDF2 with one block.
sub salted {
	my ($salt, $rounds) = @_;
	my $u = hmac_sha256($salt . pack('N', 1), $password);
	my $all = $u;
	for (2 .. $rounds) {
		$u = hmac_sha256($u, $password);
		$all ^= $u;
	}
	return $all;
}

reply();
my ($offer) = grep { /AUTH / } say_line('EHLO laptop');
print $offer =~ s/^\d{3}.//r, "\n";

my $header = "p=$type,,";
my $bound = binding();
$bound = 'x' x length $bound if $good eq 'bad';
my $bare = "n=$user,r=" . b64(pack 'N3', map { rand 2**32 } 1 .. 3);
my ($answer) = say_line("AUTH $mechanism " . b64($header . $bare));
if ($answer =~ /^334 (.*)/) {
	my $first = decode_base64($1);
	my ($nonce, $salt, $rounds) = $first =~ /^r=([^,]+),s=([^,]+),i=(\d+)$/
	    or die "challenge: $first";
	my $salted = salted(decode_base64($salt), $rounds);
	my $key = hmac_sha256('Client Key', $salted);
	my $final = 'c=' . b64($header . $bound) . ",r=$nonce";
	my $message = "$bare,$first,$final";
	my $proof = $key ^ hmac_sha256($message, sha256($key));
	($answer) = say_line(b64("$final,p=" . b64($proof)));
	if ($answer =~ /^334 (.*)/) {
		my $server = hmac_sha256('Server Key', $salted);
		decode_base64($1) eq 'v=' . b64(hmac_sha256($message, $server))
		    or die 'the server did not prove itself';
		($answer) = say_line('');
	}
}
print "$answer\n";
