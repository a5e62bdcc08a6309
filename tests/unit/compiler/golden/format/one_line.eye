rule a { version "1"
 }