mod board;
mod heard;
mod kept;
mod rounds;
mod tables;
