ifdef(`sm_version', `dnl
define(`confCLIENT_CERT', `CERT_DIR/client.pem')dnl
define(`confCLIENT_KEY', `CERT_DIR/client.key')dnl
')dnl
