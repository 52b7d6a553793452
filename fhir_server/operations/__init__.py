"""Operations (R4 Operations): the table of those that this server has, one file for each."""
